"""By what measure a product of thin matrices comes near to a matrix: one method a file.

Each has one function ``moment(inputs)``: the second moment [inputs, inputs] of the inputs by which
outputs are compared, or None where all inputs count the same.
"""
