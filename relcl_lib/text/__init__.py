"""From text to tensors and back: words, spans, schemas, markers, document tokens, decoding, scores.

Also pretrained encoders by name or folder. Files are read in `relcl_lib.data`; networks are in
`relcl_lib.models`.
"""
