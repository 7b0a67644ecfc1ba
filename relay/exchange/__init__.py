"""What is exchanged with other relays: who they are, what they attest, and how it is read."""
