"""Several nodes that store events in one ClickHouse database, each event once."""
