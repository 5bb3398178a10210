"""The networks and the contract they share: torch only."""
