"""A stand-in of the npm package onnxruntime-web: the two files that pages carry along."""

FILES = {
    "dist/ort.wasm.bundle.min.mjs": b"var a={},T=1;export{a as env,T as Tensor};\n//# sourceMappingURL=x.map",
    "dist/ort-wasm-simd-threaded.wasm": b"\0asm" * 100,
}


def stub(folder):
    """Writes the package; returns its folder."""
    for name, data in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return str(folder)
