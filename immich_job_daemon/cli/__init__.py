"""The command line: ``run``, ``check`` and ``release``."""
