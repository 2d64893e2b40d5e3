"""The face for people: one page that shows what the queues do and why, and lets a person decide.

- ``page``: the Flask application: which path answers with what, and with which headers.
- ``desk``: where a person leaves a wish, and what the answer says.
- ``access``: who may see the page, who may change something, and which request is the page's own.
- ``delays``: how long whoever gave a wrong password has to wait.
- ``wishes``: whether a change can be made now, and a sentence of what will happen then.
- ``view``: what the page shows of the published picture; its parts are ``headline``, ``panel``,
  ``rows`` and ``states``.
- ``timeline``: the last 24 hours as shapes.
- ``words``: texts, plurals, numbers and durations in the reader's language.
- ``files``: what the page loads besides.

``templates`` is its structure, ``static`` how it looks and stays fresh, ``languages`` what it says.
"""
