"""What runs: execution, order tracking, portfolio, risk, monitoring, strategies."""
