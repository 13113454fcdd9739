SHARED = "from the layer"
