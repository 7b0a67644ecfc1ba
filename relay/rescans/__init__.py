"""See in the background to what was let go before lists or peers' warnings came that it fits."""
