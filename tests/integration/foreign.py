"""Small legal ONNX models of the shapes that exporters and people really make."""

from collections.abc import Callable

import numpy as np
import onnx
from onnx import helper, numpy_helper, parser

RNG = np.random.default_rng(0)


def parsed(body: str, opset: int = 17, ir: int = 8, more: str = "") -> onnx.ModelProto:
    return parser.parse_model(f'<ir_version: {ir}, opset_import: ["" : {opset}{more}]> {body}')


def weights(model: onnx.ModelProto, **shapes: tuple[int, ...]) -> onnx.ModelProto:
    """Give a model float weights of these shapes."""
    for name, shape in shapes.items():
        value = np.random.default_rng(len(name)).uniform(-1, 1, shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    return model


def old_convolution() -> onnx.ModelProto:
    """Opset 9, IR 4: convolution, batch norm, pool and Gemm as PyTorch 1.0 wrote them."""
    body = """old (float[N,3,16,16] x) => (float[N,4] y) {
        c = Conv <kernel_shape = [3,3], pads = [1,1,1,1]> (x, k, b)
        n = BatchNormalization (c, gain, shift, mean, spread)
        r = Relu (n) a = Clip <min = 0.0, max = 6.0> (r)
        p = GlobalAveragePool (a) f = Flatten (p) g = Dropout <ratio = 0.5> (f)
        s = Gemm <transB = 1> (g, w, v) y = Softmax <axis = 1> (s) }"""
    model = parsed(body, opset=9, ir=4)
    weights(model, k=(8, 3, 3, 3), b=(8,), gain=(8,), shift=(8,), mean=(8,), w=(4, 8), v=(4,))
    spread = numpy_helper.from_array(np.full(8, 0.5, np.float32), "spread")
    model.graph.initializer.append(spread)
    return model


def weights_as_inputs() -> onnx.ModelProto:
    """IR 3: every weight is an input as well."""
    body = "g (float[N,4] x, float[4,3] w) => (float[N,3] y) { y = MatMul(x, w) }"
    return weights(parsed(body, opset=9, ir=3), w=(4, 3))


def old_resize() -> onnx.ModelProto:
    """Opset 9: Upsample, which newer opsets have not."""
    return parsed("""g (float[N,3,H,W] x) => (float[N,3,P,Q] y) {
        s = Constant <value = float[4] {1, 1, 2, 2}> ()
        y = Upsample <mode = "nearest"> (x, s) }""", opset=9, ir=4)  # fmt: skip


def loop() -> onnx.ModelProto:
    """A Loop that runs three times, with a weight that its body reads."""
    return weights(parsed("""g (float[N,4] x) => (float[N,4] y) {
        count = Constant <value_int = 3> ()
        true = Constant <value = bool {1}> ()
        y = Loop (count, true, x) <body = b (int64 i, bool c, float[N,4] a)
            => (bool d, float[N,4] z) { d = Identity(c) m = MatMul(a, w) z = Tanh(m) }> }"""),
        w=(4, 4))  # fmt: skip


def nested_if() -> onnx.ModelProto:
    """An If in an If, with names of both graphs around it."""
    return parsed("""g (bool c, float[N,2] x) => (float[N,2] y) {
        h = Neg(x)
        y = If (c) <
          then_branch = t () => (float[N,2] p) {
            s = ReduceSum <keepdims = 0> (x) zero = Constant <value = float {0}> ()
            e = Greater(s, zero)
            p = If (e) <then_branch = tt () => (float[N,2] q) { q = Add(h, x) },
                        else_branch = te () => (float[N,2] r) { r = Abs(h) }> },
          else_branch = e () => (float[N,2] u) { u = Mul(h, h) }> }""")  # fmt: skip


def scan() -> onnx.ModelProto:
    """A Scan over time: a running sum."""
    return parsed("""g (float[2] start, float[T,2] x) => (float[2] last, float[T,2] y) {
        last, y = Scan <num_scan_inputs = 1, body = b (float[2] s, float[2] v)
            => (float[2] t, float[2] o) { t = Add(s, v)
                o = Identity(t) }> (start, x) }""")  # fmt: skip


def many_ends() -> onnx.ModelProto:
    """Three inputs of several types, four outputs, one of them read inside as well."""
    return weights(parsed("""g (float[N,4] x, int64[N] ids, bool[N,1] keep)
        => (float[N,3] a, float[N,3] b, int64[N] c, bool[N,1] d) {
        a = MatMul(x, w) e = Gather(table, ids) f = Add(a, e)
        zero = Constant <value = float {0}> ()
        b = Where(keep, f, zero) one = Constant <value = int64 {1}> ()
        c = Add(ids, one) d = Not(keep) }"""), w=(4, 3), table=(11, 3))  # fmt: skip


def recurrent() -> onnx.ModelProto:
    """An LSTM whose optional inputs are empty names."""
    return weights(parsed("""g (float[T,1,4] x, float[1,1,5] h)
        => (float[T,1,1,5] y, float[1,1,5] n) {
        y, n = LSTM <hidden_size = 5> (x, w, r, b, , h) }"""),
        w=(1, 20, 4), r=(1, 20, 5), b=(1, 40))  # fmt: skip


def bytes_in() -> onnx.ModelProto:
    """A picture of bytes that the model itself scales."""
    return weights(parsed("""g (uint8[N,3,H,W] x) => (float[N,4,P,Q] y) {
        f = Cast <to = 1> (x) s = Constant <value = float {0.0039}> () n = Mul(f, s)
        y = Conv <kernel_shape = [3,3]> (n, k) }"""), k=(4, 3, 3, 3))  # fmt: skip


def rank_zero() -> onnx.ModelProto:
    """Numbers without axes in and out."""
    return parsed("g (float x, float y) => (float z) { a = Mul(x, y) z = Add(a, x) }")


def no_rows() -> onnx.ModelProto:
    """An input and a weight with an axis of zero elements."""
    model = parsed(
        "g (float[0,2] x, float[N,2] v) => (float[M,2] y) { y = Concat <axis=0> (x, v, e) }"
    )
    empty = numpy_helper.from_array(np.zeros((0, 2), np.float32), "e")
    model.graph.initializer.append(empty)
    return model


def all_dynamic() -> onnx.ModelProto:
    """Every axis open, sizes computed while it runs."""
    return parsed("""g (float[a,b,c] x, float[a,b,c] z) => (float[d,e] y) {
        s = Shape(x) first = Constant <value = int64[1] {0}> () n = Gather(s, first)
        rest = Constant <value = int64[1] {-1}> () t = Concat <axis = 0> (n, rest)
        u = Add(x, z) y = Reshape(u, t) }""")  # fmt: skip


def functions() -> onnx.ModelProto:
    """A function of the model's own that calls another."""
    return weights(parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17, "mine" : 1]>
        g (float[N,4] x) => (float[N,3] y) { m = MatMul(x, w) y = mine.Outer <slope = 0.3> (m) }
        <domain: "mine", opset_import: ["" : 17, "mine" : 1]>
        Outer <slope> (a) => (b) { c = mine.Inner(a) b = LeakyRelu <alpha: float = @slope> (c) }
        <domain: "mine", opset_import: ["" : 17]>
        Inner (a) => (b) { t = Tanh(a) b = Add(t, a) }"""), w=(4, 3))  # fmt: skip


def weight_out() -> onnx.ModelProto:
    """An initializer that is an output."""
    return weights(parsed("g (float[N,4] x) => (float[N,3] y, float[4,3] w) { y = MatMul(x, w) }"),
                   w=(4, 3))  # fmt: skip


def input_out() -> onnx.ModelProto:
    """An output that is an input: nothing is computed."""
    return parsed("g (float[N,2] x) => (float[N,2] x) { }")


def identity() -> onnx.ModelProto:
    return parsed("g (float[N,2] x) => (float[N,2] y) { y = Identity(x) }")


def same_names() -> onnx.ModelProto:
    """Every node has the same name."""
    model = weights(parsed("g (float[N,4] x) => (float[N,4] y) { a = MatMul(x, w) b = Relu(a)\n"
                           "y = MatMul(b, w) }"), w=(4, 4))  # fmt: skip
    for node in model.graph.node:
        node.name = "node"
    return model


def doubles() -> onnx.ModelProto:
    """float64 throughout."""
    model = parsed("g (double[N,4] x) => (double[N,3] y) { y = MatMul(x, w) }")
    model.graph.initializer.append(numpy_helper.from_array(RNG.standard_normal((4, 3)), "w"))
    return model


def halves() -> onnx.ModelProto:
    """float16 throughout, as a half-precision export is."""
    model = parsed("""g (float16[N,4] x) => (float16[N,3] y) {
        m = MatMul(x, w) y = Softmax <axis = -1> (m) }""")  # fmt: skip
    value = RNG.standard_normal((4, 3)).astype(np.float16)
    model.graph.initializer.append(numpy_helper.from_array(value, "w"))
    return model


def half_stored() -> onnx.ModelProto:
    """Weights stored as float16 and widened by the model."""
    model = parsed("""g (float[N,64] x) => (float[N,48] y) { f = Cast <to = 1> (w)
        y = MatMul(x, f) }""")  # fmt: skip
    value = np.random.default_rng(1).standard_normal((64, 48)).astype(np.float16)
    model.graph.initializer.append(numpy_helper.from_array(value, "w"))
    return model


def big_constant() -> onnx.ModelProto:
    """A Constant node of 4 MB."""
    model = parsed("g (float[N,1024] x) => (float[N,1024] y) { y = MatMul(x, w) }")
    value = np.random.default_rng(2).standard_normal((1024, 1024)).astype(np.float32)
    node = helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(value))
    model.graph.node.insert(0, node)
    return model


def masked() -> onnx.ModelProto:
    """Attention with a causal mask of -inf, clip limits of inf and the lowest float."""
    model = parsed("""g (float[N,6,8] x) => (float[N,6,8] y) {
        t = Transpose <perm = [0,2,1]> (x) s = MatMul(x, t) m = Add(s, mask)
        low = Constant <value = float {-3.4028234663852886e38}> () l = Max(m, low)
        p = Softmax <axis = -1> (m) o = MatMul(p, x) i = Identity(l)
        lo = Constant <value = float {0.0}> () c = Clip(o, , hi) y = Max(c, ninf) }""")  # fmt: skip
    mask = np.triu(np.full((6, 6), -np.inf, np.float32), 1)
    for name, value in (("mask", mask), ("hi", np.float32(np.inf)), ("ninf", np.float32(-np.inf))):
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return model


def contributed() -> onnx.ModelProto:
    """ONNX Runtime's own operators among ONNX's, at an old opset."""
    return weights(parsed("""g (float[N,8] x) => (float[N,4] y) {
        m = MatMul(x, w) b = com.microsoft.BiasGelu(m, v) y = Softmax(b) }""",
        opset=12, more=', "com.microsoft" : 1'), w=(8, 4), v=(4,))  # fmt: skip


def too_new() -> onnx.ModelProto:
    """Opset 23 with nothing in it that older ones lack."""
    return weights(parsed("""g (float[N,2,8] x) => (float[N,2,4] y) { m = MatMul(x, w)
        axes = Constant <value_ints = [1]> () r = ReduceMean(m, axes) y = Sub(m, r) }""",
        opset=23, ir=11), w=(8, 4))  # fmt: skip


def newest() -> onnx.ModelProto:
    """Opset 26, IR 13."""
    return weights(parsed("""g (float[N,8] x) => (float[N,4] y) { m = MatMul(x, w)
        y = Gelu(m) }""", opset=26, ir=13), w=(8, 4))  # fmt: skip


def integers() -> onnx.ModelProto:
    """Nothing but integers."""
    return parsed("""g (int64[N,4] ids) => (int64[N,4] next, int32[N,4] small) {
        one = Constant <value = int64 {1}> () next = Add(ids, one)
        small = Cast <to = 6> (ids) }""")  # fmt: skip


LEGAL: tuple[Callable[[], onnx.ModelProto], ...] = (
    old_convolution, weights_as_inputs, old_resize, loop, nested_if, scan, many_ends, recurrent,
    bytes_in, rank_zero, no_rows, all_dynamic, functions, weight_out, input_out, identity,
    same_names, doubles, halves, half_stored, big_constant, masked, contributed, too_new, newest,
    integers,
)  # fmt: skip
