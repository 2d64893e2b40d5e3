"""The daemon in Home Assistant: one device with entities, through MQTT discovery.

- ``broker``: where the broker is, as a person writes it; ``supervisor``: as the add-on is told.
- ``topics``: what is said where. ``discovery``: what there is to be seen and done, as data.
- ``state``: the published picture as the entities show it.
- ``commands``: what is asked for over MQTT; ``refusals``: how often it is told that it is nothing.
- ``conversation``: one connection to the broker, from its begin to its end.
- ``link``: the thread that keeps one; ``failures``: why there is none, in words.
- ``serving``: where it begins.
"""
