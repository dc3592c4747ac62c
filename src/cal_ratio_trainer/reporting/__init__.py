"""Reports on trainings and data, as pages, tables and figures."""
