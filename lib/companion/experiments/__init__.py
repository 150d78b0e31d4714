"""The experiments, one folder per chapter; beside them what several chapters share."""
