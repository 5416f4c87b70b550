#!/bin/bash
# Makes the tables in this folder. Run it from the repository's root, with .venv/bin on the PATH; run
# it several times at once to share the work (OMP_NUM_THREADS=1). What is finished is not done again.
#
#     docs/results/run.sh CELLS DEVICES ACCURACIES RUNS
#
# CELLS is an .npz file of NAS-Bench-201 networks with their latencies on a GTX 1660 (NNLQP's, see
# tvm_costmodel/datasets/arrays.py), DEVICES one of its cells with their latencies on many devices
# (HELP's), ACCURACIES one of all its cells with their accuracies, RUNS the directory of finished
# runs.
set -euo pipefail
cells=$1 devices=$2 accuracies=$3 runs=$4
here=$(dirname "$0")

measured=(--data 'data/v2[kernels=true]' --platform tvm-relay)
ten=alexnet+vgg+resnet+googlenet+squeezenet+mobilenet_v2+mobilenet_v3+mnasnet+efficientnet+nasbench201
modern=densenet+shufflenet_v2+convnext+vit+bert
best='nar-former-v2[preset=best'
ours="kernel-sum,kernel-sum[kernels=guess],measured-kernels,$best],blend,blend[kernels=guess]"
quick="flops,flops-mac,$ours"

evaluate() { tvm-costmodel evaluate --output "$runs" --format csv "$@"; }

# Table 1 and table 2: predictors side by side; those that take minutes to fit with one seed, and
# BRP-NAS and NAR-Former, which would take half an hour, with fewer epochs than their papers have.
evaluate "${measured[@]}" --protocol in-domain --seeds 5 \
  --predictors "$quick" --table "$here/in-domain.md"
evaluate "${measured[@]}" --protocol in-domain \
  --predictors "nn-meter,tpu,nnlp,brp-nas[epochs=15],nar-former[epochs=15],$best]" \
  --table "$here/in-domain-learned.md"
evaluate "${measured[@]}" --protocol "leave-one-family-out[families=$ten]" --seeds 3 \
  --predictors "$quick" --table "$here/leave-one-family-out.md"
evaluate "${measured[@]}" --protocol "leave-one-family-out[families=$modern]" --seeds 3 \
  --predictors "$quick" --table "$here/leave-one-family-out-modern.md"
# The paper's network has width 64 here: at 512 a fit takes 45 minutes on one core.
paper='nar-former-v2[preset=paper,width=64]'
evaluate "${measured[@]}" --protocol "leave-one-family-out[families=$ten]" \
  --predictors "nn-meter,tpu,brp-nas[epochs=15],nnlp,$paper,$best]" \
  --table "$here/leave-one-family-out-learned.md"

# Learned against kernel-sum, and what kernel-sum is off kernel by kernel.
evaluate "${measured[@]}" --protocol in-domain --predictors "$paper,$ours" \
  --table "$here/kernel-sum.md"
evaluate "${measured[@]}" --protocol "leave-one-family-out[families=$ten]" \
  --predictors "$paper,$ours" --table "$here/kernel-sum-unseen.md"
python tools/kernel_errors.py "${measured[1]}" tvm-relay >"$here/kernels.md"

# NNLQP's NAS-Bench-201 networks: one family, so that nothing need be ready for others.
alone="$best,prior=none,shrinkage=0,operator_dropout=0,embed=false"
evaluate --data "cells:$cells" --protocol fixed --seeds 5 \
  --predictors "flops,flops-mac,$alone]" --table "$here/nnlqp-nas-bench-201.md"

# The same networks on many devices, 900 cells to learn from; BRP-NAS as in its own paper on cells, but
# for fewer epochs.
evaluate --data "cells:$devices[eager=true,count=3000]" --protocol 'fixed[train=900,test=rest]' \
  --predictors "flops,flops-mac,brp-nas[graph=cell,epochs=60],$alone,epochs=30]" \
  --table "$here/help-nas-bench-201.md"

# Table 4, by narrower and shorter NAR-Formers than the papers' (V2: width 512, 1000 epochs, batches of
# 8; version 1: width 192, 4000 epochs, batches of 128).
evaluate --data "cells:$accuracies" --protocol 'fixed[train=781+1563,validation=200]' \
  --predictors "neural-predictor,tnasp,\
nar-former[width=128,heads=4,batch_size=32,epochs=200,learning_rate=0.0003],\
nar-former-v2[width=128,batch_size=32,epochs=300,learning_rate=0.001]" \
  --table "$here/nas-bench-201-accuracy.md"

# What the choices of the preset best are good for, by runs of 15 epochs: in domain, and on families that
# the paper does not have.
both=relations=forward+backward
choices="$best],$best,relations=undirected],$best,$both+siblings],$best,$both+kernel],\
$best,readout=pooled,prior=none,shrinkage=0,kernel_weight=0],$best,prior=none,shrinkage=0],\
$best,shrinkage=0],$best,kernel_weight=0],$best,operator_dropout=0],$best,divisors=none],\
$best,fused=true],$best,values=position],$best,input_norm=layer],$best,embed=false],\
$best,normalize=l2],$best,loss=log-squared]"
evaluate "${measured[@]}" --protocol in-domain --epochs 15 --predictors "$choices" \
  --table "$here/ablation-best-in-domain.md"
evaluate "${measured[@]}" --protocol "leave-one-family-out[families=$modern]" --epochs 15 \
  --predictors "$choices" --table "$here/ablation-best.md"
evaluate "${measured[@]}" --protocol 'leave-one-family-out[families=efficientnet+mobilenet_v3]' --seeds 3 \
  --predictors "$best],$best,operator_dropout=0]" --table "$here/operator-dropout.md"
evaluate "${measured[@]}" --protocol "leave-one-family-out[families=$modern]" --epochs 15 \
  --predictors "$best],$best,width=16],$best,width=32],$best,width=128],$best,width=256]" \
  --table "$here/width.md"

# Tables 5 and 6: what the parts of NAR-Former V2 are good for, at width 64.
part='nar-former-v2[preset=paper,width=64'
mean=$part,attention=mean,enhance=false,ffn=none
evaluate "${measured[@]}" --protocol in-domain --seeds 3 --predictors "$mean,values=real],\
$mean,op_type=position],$mean],$part,enhance=false,ffn=plain],$part,enhance=false],$part]" \
  --table "$here/ablation-paper.md"
evaluate "${measured[@]}" --protocol in-domain --seeds 3 --predictors "$part],$part,attention=global]" \
  --table "$here/attention.md"
