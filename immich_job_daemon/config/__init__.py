"""Settings: the schema, the parsers of their values, and warnings about combinations."""
