"""The link layer: modulation and coding schemes, LDPC codes with HARQ, and block error rates fitted to them."""
