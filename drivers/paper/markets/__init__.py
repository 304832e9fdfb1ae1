"""Market models: where the paper venue's prices come from."""
