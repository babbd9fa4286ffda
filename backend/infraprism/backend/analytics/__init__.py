"""Analytics queries: SQL on measured rows, and exact arithmetic. The REST API has their parameters and paths."""
