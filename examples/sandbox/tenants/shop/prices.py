prices = {"tea": 12}
