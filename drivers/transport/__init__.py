"""What every venue needs once: HTTP, WebSocket, rate limits, clock offset."""
