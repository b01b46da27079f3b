"""KTransformers: SGLang with kt-kernel as it is today, and the rules of the 0.3 form."""
