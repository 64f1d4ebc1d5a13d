"""What operators ask and do over HTTP: projections, verification, health, metrics."""
