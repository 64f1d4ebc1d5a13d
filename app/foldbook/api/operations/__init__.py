"""Operations over HTTP: projections, verification of the log, health, metrics."""
