"""What `make bench` runs: slow measurements on truth and load sets, printed as tables. Not tests."""
