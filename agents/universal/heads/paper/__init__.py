"""Heads of the paper preset, one file per task: the encoders and decoders of arXiv 2412.20772, rebuilt to check its claims.

They know nothing of classical receivers and aren't told the noise power. Sizes are those of the paper's text, and of its released
code where the text is silent; each file says where the two differ. None was reduced. Published counts are those of the code with
tokens of width 768, 128 antennas and 8 users: 0.35 M for prediction and 2.17 M for precoding, which these heads have too, but for
precoding's second layer in the decoder; and 16.05 M for detection, nearly all of it in a transformer over patches of the channel
that the text doesn't have.

Two more things are this agent's and not the paper's: the decoder reads the encoder's tokens plus what the language model makes of
them, not the latter alone; and the instruction is this package's own.

Source: Zheng and Dai, "Large language model enabled multi-task physical layer network", IEEE Trans. Commun. 74(1), 2026.
"""
