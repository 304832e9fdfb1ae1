"""The operator's language: words become intents, intents become orders with a preview."""
