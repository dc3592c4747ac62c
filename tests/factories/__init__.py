"""Made-up jets, files, ntuples, networks and runs for all tests."""
