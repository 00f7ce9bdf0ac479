#!/usr/bin/env bash
# Make every committed record again: bash records/make.sh [PYTHON]. Takes about ten minutes on two cores.
set -euo pipefail
cd "$(dirname "$0")/.."
export OMP_WAIT_POLICY=passive
python=${1:-.venv/bin/python}

make_record() {  # NAME, then the arguments of compare
    local name=$1
    shift
    rm -rf "runs/records/$name/records" # of other settings; finished blocks stay
    "$python" -m wirelessgym compare "$@" --seed 7 --out "runs/records/$name"
    rm -rf "records/$name"
    mkdir -p "records/$name"
    cp "runs/records/$name/records/"*.json "records/$name/"
}

precoders=mrt,zf,rzf,wmmse
make_record precoding-four-users precoding --agents $precoders --scenario uma-nlos-16,uma-nlos-32,uma-nlos-64,uma-nlos-128 \
    --episodes 500 --set horizon=1
make_record precoding-eight-users precoding --agents $precoders --scenario uma-nlos-32,uma-nlos-64 \
    --episodes 500 --set num_users=8 --set horizon=1
make_record precoding-noisy-csi precoding --agents $precoders,robust_wmmse --scenario uma-nlos-32 --reference wmmse \
    --episodes 500 --set num_users=8 --set csi_snr_db=10 --set horizon=1
make_record precoding-hard precoding --agents $precoders,robust_wmmse --scenario uma-hard-32,uma-hard-16 --reference wmmse \
    --episodes 500 --set horizon=1
detectors=lmmse,lmmse_soft,oamp,kbest,ep
make_record detection-four-users detection --agents $detectors --scenario uma-nlos-32,uma-nlos-64 --sweep snr_db=0:20:5 \
    --episodes 500 --set normalisation=sample --set horizon=1
make_record detection-eight-users detection --agents $detectors --scenario uma-nlos-32 --sweep snr_db=0:20:5 \
    --episodes 500 --set num_users=8 --set horizon=1
make_record prediction-speed channel_prediction --agents hold,wiener,ar,pvec,pad,kalman,ar_beamdelay --scenario uma-nlos-128 \
    --sweep speed_kmh=10,30,50,70,100 --episodes 100 --set horizon=1
"$python" records/update_readme.py
