"""The web page: shows what the queues do and why, and lets users control them.

- ``app``: the Flask application with its routes and headers.
- ``auth``: who may open the page and use its controls.
- ``rate_limit``: delays after wrong passwords.
- ``actions``: accepts changes from the page's controls.
- ``feedback``: what a change will do, or why it is rejected.
- ``view``: everything that the page shows of a status; ``headline``, ``controls_view``,
  ``queue_list`` and ``timeline`` are its parts.
- ``i18n``: texts, plurals, numbers and durations in the reader's language.
- ``assets``: style sheet, script and icon.

``templates`` has the HTML, ``static`` the assets, ``languages`` the texts.
"""
