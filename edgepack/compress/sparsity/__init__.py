"""Which single weights become zero: one method a file.

Those that look at the whole model have ``scores(model, layers, options, context)``, which returns
how much each weight matters by the layer's name. Those that go layer by layer have
``pruned(weights, inputs, options)``, which returns the layer's weights with zeros among them.
Weights are matrices [groups, outputs, inputs] everywhere.
"""
