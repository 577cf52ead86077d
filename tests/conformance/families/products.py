# SPDX-License-Identifier: Apache-2.0
"""Products, convolutions, linear algebra and Fourier transforms."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..case import EXACT, Family, complexes, definite, grid, integers

DOT = Family("dot")
CONV = Family("convolution")
LINALG = Family("linalg", modes=EXACT)
FFT = Family("fft", modes=EXACT)
FAMILIES = [DOT, CONV, LINALG, FFT]

A, B = grid(4, 6, limit=1.0), grid(6, 5, limit=1.0, seed=1)
DOT.add_all({
    "matmul": lambda a, b: a @ b,
    "vectors": lambda a, b: (a[0] @ b, a @ b[:, 0], a[0] @ b[:, 0], jnp.vdot(a[0], b[:, 1])),
    "dot": lambda a, b: (jnp.dot(a, b), jnp.dot(2.0, a), jnp.inner(a, b.T), jnp.outer(a[0], b)),
    "tensordot": lambda a, b: (jnp.tensordot(a, b, 1), jnp.tensordot(a, b, 0),
        jnp.tensordot(a, b, ((1,), (0,)))),
    "einsum": lambda a, b: (jnp.einsum("ij,jk->ki", a, b), jnp.einsum("ij,jk->", a, b),
        jnp.einsum("ij,ij->j", a, a), jnp.einsum("ii->i", b[:5]), jnp.einsum("...j,jk->...k", a, b)),
    "preferred": lambda a, b: (lax.dot(a, b, preferred_element_type=jnp.float32),
        jnp.matmul(a.astype(jnp.bfloat16), b.astype(jnp.bfloat16),
        preferred_element_type=jnp.float32)),
    "precision": lambda a, b: [lax.dot(a, b, precision=p) for p in
        ("default", "high", "highest", lax.Precision.HIGHEST)],
    "algorithm": lambda a, b: lax.dot(a, b, precision=lax.DotAlgorithmPreset.F32_F32_F32),
    "general_no_contract": lambda a, b: lax.dot_general(a, b, (((), ()), ((), ()))),
    "general_batch_only": lambda a, b: lax.dot_general(a, a, (((), ()), ((0, 1), (0, 1)))),
    "multi_dot": lambda a, b: jnp.linalg.multi_dot([a, b, b.T, a.T]),
    "matrix_power": lambda a, b: jnp.linalg.matrix_power(b[:5] / 2, 3),
    "kron": lambda a, b: jnp.kron(a, b[:2]),
    "gradient": jax.grad(lambda a, b: ((a @ b) ** 2).sum(), (0, 1)),
    "constant_operand": lambda a, b: a @ jnp.asarray(np.eye(6, dtype=np.float32)),
    "zeros": lambda a, b: (a * 0) @ b,
    "convolve": lambda a, b: [jnp.convolve(a[0], b[0], mode=m) for m in ("full", "same", "valid")],
    "correlate": lambda a, b: [jnp.correlate(a[0], b[0], mode=m) for m in ("full", "same", "valid")],
    "cross": lambda a, b: jnp.cross(a[:, :3], a[:, 3:]),
    "vecdot": lambda a, b: (jnp.vecdot(a, a), jnp.linalg.vecdot(a, a)),
    "matvec": lambda a, b: (jnp.matvec(b.T, a), jnp.vecmat(a, b)),
    "cov": lambda a, b: (jnp.cov(a), jnp.corrcoef(a)),
    "polyval": lambda a, b: jnp.polyval(a[0], b),
}, A, B, tolerance=3e-2)  # fmt: skip
BATCHED = grid(2, 3, 4, 5, limit=1.0), grid(2, 3, 5, 2, limit=1.0, seed=1)
DOT.add(
    "batched", lambda a, b: (a @ b, jnp.einsum("bhij,bhjk->bihk", a, b), a[0] @ b[:, :1]), *BATCHED
)
DOT.add(
    "general_orders", lambda a, b: lax.dot_general(a, b, (((3,), (2,)), ((1, 0), (1, 0)))), *BATCHED
)
DOT.add("batched_gradient", jax.grad(lambda a, b: ((a @ b) ** 2).sum(), (0, 1)), *BATCHED)
DOT.add("vmap_both", jax.vmap(jnp.dot, (1, 1)), *BATCHED)
for dtype in ("int8", "int32", "uint8", "bool", "float16", "bfloat16", "complex64", "int4"):
    DOT.add(f"of_{dtype}", lambda a, b, t=dtype: (a.astype(t) @ b.astype(t)),
            integers(4, 6, low=0, high=2), integers(6, 5, low=0, high=2, seed=1))  # fmt: skip
DOT.add("mixed_dtypes", lambda a, b: (a.astype(jnp.bfloat16) @ b, a.astype(jnp.int8) @ b,
        lax.dot_general(a.astype(jnp.int8), b.astype(jnp.int8), (((1,), (0,)), ((), ())),
        preferred_element_type=jnp.int32)), A, B)  # fmt: skip
if hasattr(lax, "ragged_dot"):
    DOT.add("ragged", lambda a, b, s: lax.ragged_dot(a, b, s), grid(6, 4, limit=1.0),
            grid(3, 4, 2, limit=1.0), np.array([2, 1, 3], np.int32))  # fmt: skip
DOT.add("attention", lambda q, k, v: (jax.nn.dot_product_attention(q, k, v),
        jax.nn.dot_product_attention(q, k, v, is_causal=True)),
        *(grid(2, 4, 3, 8, seed=s, limit=1.0) for s in range(3)), tolerance=3e-2)  # fmt: skip

for rank in (1, 2, 3):
    spatial = "DHW"[-rank:]
    layout = ("NC" + spatial, "OI" + spatial, "NC" + spatial)
    shape, window = (2, 4, *(7, 6, 5)[:rank]), (6, 4, *(3, 2, 2)[:rank])
    for name, options in {
        "plain": {}, "strides": {"window_strides": (2,) * rank},
        "same": {"padding": "SAME"}, "explicit": {"padding": [(1, 2)] * rank},
        # Not (-1, 1): XLA:CPU then reads beyond the array, in two dimensions.
        "negative": {"padding": [(-1, 2)] * rank}, "dilated": {"rhs_dilation": (2,) * rank},
        "fractional": {"lhs_dilation": (2,) * rank, "padding": [(1, 1)] * rank},
        "both_dilated": {"lhs_dilation": (2,) * rank, "padding": [(1, 1)] * rank, "rhs_dilation": (2,) * rank},
        "groups": {"feature_group_count": 2}, "depthwise": {"feature_group_count": 4},
        "batch_groups": {"batch_group_count": 2},
    }.items():  # fmt: skip
        groups = options.get("feature_group_count", 1)
        kernel = (8 if groups == 4 else 6, 4 // groups, *window[2:])
        settings = {"window_strides": (1,) * rank, "padding": "VALID", **options}

        def conv(x, w, settings=settings, layout=layout):
            return lax.conv_general_dilated(x, w, dimension_numbers=layout, **settings)

        data = grid(*shape, limit=1.0), grid(*kernel, limit=1.0, seed=1)
        CONV.add(f"{rank}d_{name}", conv, *data)
        CONV.add(f"{rank}d_{name}_gradient", jax.grad(
            lambda x, w, c=conv: (c(x, w) ** 2).sum(), (0, 1)), *data, tolerance=5e-2)  # fmt: skip
for numbers in itertools.islice(
    itertools.product(("NHWC", "CNHW", "HWNC"), ("HWIO", "OHWI"), ("NHWC", "HWCN")), 8
):
    CONV.add("layout_" + "_".join(numbers), lambda x, w, n=numbers: lax.conv_general_dilated(
        jnp.einsum("NHWC->" + n[0], x), jnp.einsum("HWIO->" + n[1], w), (1, 1), "SAME",
        dimension_numbers=n), grid(2, 5, 6, 3, limit=1.0), grid(3, 2, 3, 4, limit=1.0))  # fmt: skip
CONV.add_all({
    "transpose": lambda x, w: lax.conv_transpose(x, w, (2, 2), "SAME"),
    "transpose_kernel": lambda x, w: lax.conv_transpose(
        x, w.swapaxes(2, 3), (1, 2), "VALID", transpose_kernel=True),
    "vmap": lambda x, w: jax.vmap(lambda v: lax.conv_general_dilated(
        v[None], w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")))(x),
    "vmap_kernel": lambda x, w: jax.vmap(lambda k: lax.conv_general_dilated(
        x, k, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")))(jnp.stack([w, w * 2])),
    "bf16": lambda x, w: lax.conv_general_dilated(x.astype(jnp.bfloat16), w.astype(jnp.bfloat16),
        (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")),
    "preferred": lambda x, w: lax.conv_general_dilated(x.astype(jnp.bfloat16),
        w.astype(jnp.bfloat16), (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"),
        preferred_element_type=jnp.float32),
    "integers": lambda x, w: lax.conv_general_dilated((x * 16).astype(jnp.int32),
        (w * 16).astype(jnp.int32), (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")),
    "complex": lambda x, w: lax.conv_general_dilated(x + 1j * x, w - 1j * w, (1, 1), "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC")),
    "patches": lambda x, w: lax.conv_general_dilated_patches(x, (2, 2), (1, 1), "VALID"),
    "local": lambda x, w: lax.conv_general_dilated_local(
        x, jnp.ones((4, 5, 6 * 4, 2)), (1, 1), "VALID", (2, 2),
        dimension_numbers=("NHWC", "HWIO", "NHWC")) if x.shape[3] == 6 else x,
    "no_axes": lambda x, w: lax.conv_general_dilated(x[:, 0, 0], w[0, 0], (), [],
        dimension_numbers=("NC", "IO", "NC")),
    "scipy": lambda x, w: [jax.scipy.signal.convolve2d(x[0, ..., 0], w[..., 0, 0], mode=m)
        for m in ("full", "same", "valid")],
    "scipy_1d": lambda x, w: (jax.scipy.signal.convolve(x[0, :, 0, 0], w[:, 0, 0, 0]),
        jax.scipy.signal.correlate(x[0, ..., 0], w[..., 0, 0], mode="same")),
}, grid(2, 5, 6, 3, limit=1.0), grid(2, 3, 3, 3, limit=1.0), tolerance=3e-2)  # fmt: skip

M, S, V = grid(5, 5, limit=2.0), definite(5), grid(5, 3, seed=2)
T = np.tril(M) + 4 * np.eye(5, dtype=np.float32)
LINALG_CASES = {
    "cholesky": lambda m, s, v: (jnp.linalg.cholesky(s), jnp.linalg.cholesky(s, upper=True)),
    "cholesky_fails": lambda m, s, v: jnp.linalg.cholesky(-s),
    "qr": lambda m, s, v: [jnp.linalg.qr(v, mode=k) for k in ("reduced", "complete", "r")],
    "qr_wide": lambda m, s, v: jnp.linalg.qr(v.T),
    "svd": lambda m, s, v: (jnp.linalg.svd(v), jnp.linalg.svd(v, full_matrices=False)),
    "svdvals": lambda m, s, v: jnp.linalg.svdvals(v),
    "eigh": lambda m, s, v: (jnp.linalg.eigh(s), jnp.linalg.eigh(s, UPLO="U")),
    "eigvalsh": lambda m, s, v: jnp.linalg.eigvalsh(s),
    "eig": lambda m, s, v: jnp.linalg.eig(m),
    "eigvals": lambda m, s, v: jnp.linalg.eigvals(m),
    "lu": lambda m, s, v: (jax.scipy.linalg.lu(m), jax.scipy.linalg.lu_factor(m)),
    "lu_lax": lambda m, s, v: lax.linalg.lu(m),
    "lu_solve": lambda m, s, v: [jax.scipy.linalg.lu_solve(
        jax.scipy.linalg.lu_factor(m), v, trans=t) for t in (0, 1)],
    "lu_permutation": lambda m, s, v: lax.linalg.lu_pivots_to_permutation(
        lax.linalg.lu(m)[1], 5),
    "solve": lambda m, s, v: (jnp.linalg.solve(m, v), jnp.linalg.solve(m, v[:, 0])),
    "scipy_solve": lambda m, s, v: (jax.scipy.linalg.solve(s, v, assume_a="pos"),
        jax.scipy.linalg.solve(m, v)),
    "cho_solve": lambda m, s, v: jax.scipy.linalg.cho_solve(
        jax.scipy.linalg.cho_factor(s), v),
    "inv": lambda m, s, v: (jnp.linalg.inv(m), jnp.linalg.pinv(v)),
    "det": lambda m, s, v: (jnp.linalg.det(m), jnp.linalg.slogdet(m)),
    "lstsq": lambda m, s, v: jnp.linalg.lstsq(v, m[:, 0]),
    "rank": lambda m, s, v: (jnp.linalg.matrix_rank(m), jnp.linalg.cond(s)),
    "expm": lambda m, s, v: jax.scipy.linalg.expm(m / 4),
    "sqrtm": lambda m, s, v: jax.scipy.linalg.sqrtm(s),
    "funm": lambda m, s, v: jax.scipy.linalg.funm(s, jnp.sin),
    "schur": lambda m, s, v: (jax.scipy.linalg.schur(m), jax.scipy.linalg.schur(m, "complex")),
    "rsf2csf": lambda m, s, v: jax.scipy.linalg.rsf2csf(*jax.scipy.linalg.schur(m)),
    "hessenberg": lambda m, s, v: (jax.scipy.linalg.hessenberg(m), lax.linalg.hessenberg(m)),
    "tridiagonal": lambda m, s, v: lax.linalg.tridiagonal(s),
    "tridiagonal_solve": lambda m, s, v: lax.linalg.tridiagonal_solve(
        m[0], jnp.abs(m[1]) + 8, m[2], v),
    "eigh_tridiagonal": lambda m, s, v: jax.scipy.linalg.eigh_tridiagonal(
        m[0], m[1, :4], eigvals_only=True),
    "householder": lambda m, s, v: lax.linalg.householder_product(v, m[0, :3] / 8),
    "geqp3": lambda m, s, v: jax.scipy.linalg.qr(v, pivoting=True),
    "polar": lambda m, s, v: jax.scipy.linalg.polar(m),
    "qdwh": lambda m, s, v: lax.linalg.qdwh(m)[0],
    "symmetric_product": lambda m, s, v: lax.linalg.symmetric_product(v, s),
    "cholesky_update": lambda m, s, v: lax.linalg.cholesky_update(
        jnp.linalg.cholesky(s, upper=True), v[:, 0]),
    "block_diag": lambda m, s, v: jax.scipy.linalg.block_diag(m, v),
    "toeplitz": lambda m, s, v: jax.scipy.linalg.toeplitz(m[0], m[1]),
    "hilbert": lambda m, s, v: jax.scipy.linalg.hilbert(4),
    "sylvester": lambda m, s, v: jax.scipy.linalg.solve_sylvester(s, s, m),
    "tensorsolve": lambda m, s, v: jnp.linalg.tensorsolve(s, m[0]),
    "tensorinv": lambda m, s, v: jnp.linalg.tensorinv(s, ind=1),
    "grad_cholesky": jax.grad(lambda m, s, v: jnp.linalg.cholesky(s).sum(), 1),
    "grad_eigh": jax.grad(lambda m, s, v: jnp.linalg.eigh(s)[0][0], 1),
    "grad_svd": jax.grad(lambda m, s, v: jnp.linalg.svd(v, full_matrices=False)[1].sum(), 2),
    "grad_qr": jax.grad(lambda m, s, v: jnp.linalg.qr(v)[1].sum(), 2),
    "grad_solve": jax.grad(lambda m, s, v: jnp.linalg.solve(m, v).sum(), (0, 2)),
    "grad_det": jax.grad(lambda m, s, v: jnp.linalg.slogdet(m)[1]),
    "grad_inv": jax.grad(lambda m, s, v: jnp.linalg.inv(m).sum()),
    "grad_lu": jax.grad(lambda m, s, v: lax.linalg.lu(m)[0].sum()),
    "grad_eigvals": jax.grad(lambda m, s, v: jnp.abs(jnp.linalg.eigvals(m)).sum()),
    "grad_expm": jax.grad(lambda m, s, v: jax.scipy.linalg.expm(m / 4).sum()),
    "cg": lambda m, s, v: jax.scipy.sparse.linalg.cg(s, v[:, 0])[0],
    "gmres": lambda m, s, v: jax.scipy.sparse.linalg.gmres(s, v[:, 0])[0],
    "bicgstab": lambda m, s, v: jax.scipy.sparse.linalg.bicgstab(s, v[:, 0])[0],
    "singular": lambda m, s, v: (jnp.linalg.inv(m * 0), jnp.linalg.det(m * 0)),
    "nan": lambda m, s, v: (jnp.linalg.svd(m * jnp.nan), jnp.linalg.eigh(s * jnp.nan)[0]),
}  # fmt: skip
LINALG.add_all(LINALG_CASES, M, S, V)
for lower, unit_diagonal, left, transpose in itertools.product((0, 1), repeat=4):
    LINALG.add(
        f"triangular_solve_{lower}{unit_diagonal}{left}{transpose}",
        lambda t, v, a=(lower, unit_diagonal, left, transpose): lax.linalg.triangular_solve(
            t if a[0] else t.T, v if a[2] else v.T, lower=bool(a[0]), unit_diagonal=bool(a[1]),
            left_side=bool(a[2]), transpose_a=bool(a[3])),
        T, V,
    )  # fmt: skip
BATCH = grid(2, 3, 4, 4, limit=2.0), definite(4, 2, 3), grid(2, 3, 4, 2)
for name in ("cholesky", "qr", "svd", "eigh", "eig", "lu_lax", "solve", "inv", "det", "schur",
             "hessenberg", "grad_cholesky_batch"):  # fmt: skip
    fn = LINALG_CASES.get(name)
    if name in ("solve", "schur", "hessenberg"):
        fn = lambda m, s, v, n=name: {
            "solve": lambda: jnp.linalg.solve(m, v), "schur": lambda: lax.linalg.schur(m),
            "hessenberg": lambda: lax.linalg.hessenberg(m)}[n]()  # fmt: skip
    if name.startswith("grad"):
        fn = jax.grad(lambda m, s, v: jnp.linalg.cholesky(s).sum(), 1)
    LINALG.add(f"batched_{name}", fn, *BATCH)
C = complexes(4, 4)
H = (C @ C.conj().T + 8 * np.eye(4)).astype(np.complex64)
for name in ("cholesky", "qr", "svd", "eigh", "eig", "lu_lax", "inv", "det", "solve", "schur",
             "hessenberg", "expm", "cho_solve", "tridiagonal"):  # fmt: skip
    LINALG.add(f"complex_{name}", LINALG_CASES[name], C, H, C[:, :3])
LINALG.add("complex_triangular", lambda t, v: [lax.linalg.triangular_solve(
    t, v, left_side=True, lower=True, transpose_a=a, conjugate_a=c)
    for a in (True, False) for c in (True, False)],
    np.tril(C) + 4 * np.eye(4, dtype=np.complex64), C[:, :2])  # fmt: skip
for name in ("cholesky", "qr", "svd", "eigh", "eig", "lu_lax", "inv", "det", "schur", "expm",
             "tridiagonal", "geqp3", "sqrtm"):  # fmt: skip
    LINALG.add(
        f"float64_{name}", LINALG_CASES[name], *(x.astype(float) for x in (M, S, V)), x64=True
    )
LINALG.add("complex128_eig", lambda m: (jnp.linalg.eig(m), jnp.linalg.svd(m)),
           C.astype(np.complex128), x64=True)  # fmt: skip
for extent in (0, 1):
    LINALG.add(f"extent_{extent}", lambda m: (jnp.linalg.qr(m), jnp.linalg.svd(m),
               jnp.linalg.eigh(m), jnp.linalg.inv(m), jnp.linalg.cholesky(m), jnp.linalg.det(m)),
               np.ones((extent, extent), np.float32))  # fmt: skip
LINALG.add("large", lambda s: (jnp.linalg.eigh(s)[0], jnp.linalg.svd(s)[1], jnp.linalg.cholesky(s)),
           definite(70))  # fmt: skip

F = complexes(3, 4, 6)
FFT.add_all({
    **{n: getattr(jnp.fft, n) for n in ("fft", "ifft", "fft2", "ifft2", "fftn", "ifftn",
       "irfft", "hfft", "irfft2", "irfftn")},
    "fft_n": lambda z: (jnp.fft.fft(z, 4), jnp.fft.fft(z, 9, axis=0), jnp.fft.ifft(z, 5, axis=1)),
    "norm": lambda z: [jnp.fft.fft(z, norm=n) for n in ("ortho", "forward", "backward")],
    "shift": lambda z: (jnp.fft.fftshift(z), jnp.fft.ifftshift(z, 0)),
    "gradient": jax.grad(lambda z: jnp.abs(jnp.fft.fftn(z)).sum()),
    "vmap": jax.vmap(jnp.fft.fft, 1),
    "odd": lambda z: jnp.fft.irfft(z, 11),
}, F)  # fmt: skip
FFT.add_all({
    **{n: getattr(jnp.fft, n) for n in ("rfft", "ihfft", "rfft2", "rfftn")},
    "of_real": jnp.fft.fft,
    "rfft_odd": lambda x: jnp.fft.rfft(x, 5),
    "frequencies": lambda x: (jnp.fft.fftfreq(8), jnp.fft.rfftfreq(9, 0.5)),
    "rfft_gradient": jax.grad(lambda x: jnp.abs(jnp.fft.rfft(x)).sum()),
    "dct": lambda x: (jax.scipy.fft.dct(x), jax.scipy.fft.idct(x), jax.scipy.fft.dctn(x)),
    "fftconvolve": lambda x: jax.scipy.signal.fftconvolve(x[0], x[1]),
    "stft": lambda x: jax.scipy.signal.stft(x.ravel(), nperseg=16),
    "welch": lambda x: jax.scipy.signal.welch(x.ravel(), nperseg=16),
    "istft": lambda x: jax.scipy.signal.istft(
        jax.scipy.signal.stft(x.ravel(), nperseg=16)[2], nperseg=16),
    "detrend": lambda x: jax.scipy.signal.detrend(x),
}, grid(3, 4, 6))  # fmt: skip
FFT.add("double", lambda z: (jnp.fft.fftn(z), jnp.fft.irfft(z)), F.astype(np.complex128), x64=True)
FFT.add("prime", lambda x: (jnp.fft.fft(x), jnp.fft.rfft(x)), grid(97))
