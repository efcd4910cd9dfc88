"""What is protected, by which SA, on which worker, with which numbers. Values and pure functions: no file, no clock."""
