"""The daemon as a device in Home Assistant, through an MQTT broker and MQTT discovery.

- ``service``: a thread that keeps a connection to the broker.
- ``connection``: one connection, from CONNECT to DISCONNECT.
- ``publisher``: the messages within one connection.
- ``topics``, ``discovery``, ``state``, ``commands``: the content of the messages. Pure.
- ``log_limit``: limits the log lines about rejected commands. Pure.
- ``errors``: connection errors as text for users. Pure.
- ``supervisor``: the broker that Home Assistant's Supervisor knows.
"""
