"""The machine: integers in, integers out.

Owns token batches, the encoder-decoder, training, decoding, model files, the copy task and the gate.
Does not know what a token stands for: no prices, no symbols, no money.
"""
