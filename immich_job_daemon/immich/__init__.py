"""The client of an Immich server: HTTP transport, both queue APIs, validated responses."""
