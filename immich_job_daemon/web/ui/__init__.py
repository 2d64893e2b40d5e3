"""The web page: shows what the queues do and why, and lets users control them.

``app`` has the routes. ``view`` is everything that the page shows of a status; ``headline``,
``controls_view``, ``queue_list`` and ``timeline`` are its parts.
"""
