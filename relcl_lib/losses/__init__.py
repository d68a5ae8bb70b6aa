"""Every loss of the five papers: pure functions of tensors that broadcast over leading dimensions.

A batch of S seeds is one call: `(S, B, D)` in, `(S,)` out (but for `cascade_loss`, whose tail
logits are of as many heads as a batch has, and for `tagging_loss` and `adaptive_threshold_loss`, which
have a number per word or pair). A batch has at least one row; `view_agreement_loss` and
`view_contrast_loss` alone take an empty one, as 0. No function edits its inputs, keeps state or
names a device.
"""

from relcl_lib.losses.basic import class_counts, cosine_similarity, cross_entropy_loss, normalise
from relcl_lib.losses.cascade import cascade_loss, tagging_loss
from relcl_lib.losses.contrastive import (
    coupled_loss,
    dynamic_temperature_weight,
    proxy_contrastive_loss,
    supervised_contrastive_loss,
)
from relcl_lib.losses.discriminative import between_within_similarity, discriminative_loss
from relcl_lib.losses.distillation import (
    proxy_contrastive_distillation_loss,
    sample_contrastive_distillation_loss,
)
from relcl_lib.losses.instances import (
    class_means,
    instance_contrast_loss,
    prototype_agreement_loss,
)
from relcl_lib.losses.prototype import (
    dropout_consistency_loss,
    prototype_contrastive_loss,
    prototype_cosine_loss,
    prototype_margin_loss,
)
from relcl_lib.losses.threshold import above_threshold, adaptive_threshold_loss
from relcl_lib.losses.views import dual_view_loss, view_agreement_loss, view_contrast_loss

__all__ = [
    "above_threshold",
    "adaptive_threshold_loss",
    "between_within_similarity",
    "cascade_loss",
    "class_counts",
    "class_means",
    "cosine_similarity",
    "coupled_loss",
    "cross_entropy_loss",
    "discriminative_loss",
    "dropout_consistency_loss",
    "dual_view_loss",
    "dynamic_temperature_weight",
    "instance_contrast_loss",
    "normalise",
    "prototype_agreement_loss",
    "prototype_contrastive_loss",
    "prototype_cosine_loss",
    "prototype_margin_loss",
    "proxy_contrastive_distillation_loss",
    "proxy_contrastive_loss",
    "sample_contrastive_distillation_loss",
    "supervised_contrastive_loss",
    "tagging_loss",
    "view_agreement_loss",
    "view_contrast_loss",
]
