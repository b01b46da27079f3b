"""The engines: one module per kind, each turning a plan into a command and an answer into facts."""
