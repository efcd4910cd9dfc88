"""Keys from numbers, over pyca/cryptography: prf, suites, exchanges, sealing. No cipher is written here."""
