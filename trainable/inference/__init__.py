"""Reading a saved model and predicting the classes of an image with it."""
