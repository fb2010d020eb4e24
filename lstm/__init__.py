"""Train, read and look inside an LSTM language model."""
