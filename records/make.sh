#!/usr/bin/env bash
# Make the committed records again, or those whose name fits a pattern: bash records/make.sh [PYTHON [PATTERN]]. Those of studies are
# made by records/study.py.
set -euo pipefail
cd "$(dirname "$0")/.."
export OMP_WAIT_POLICY=passive
python=${1:-.venv/bin/python}
pattern=${2:-*}

make_record() {  # NAME, then the arguments of compare
    local name=$1
    shift
    # shellcheck disable=SC2053
    [[ $name == $pattern ]] || return 0
    rm -rf "runs/records/$name/records" # of other settings; finished blocks stay
    "$python" -m wirelessgym compare "$@" --seed 7 --out "runs/records/$name"
    rm -rf "records/$name"
    mkdir -p "records/$name"
    cp "runs/records/$name/records/"*.json "records/$name/"
}

# Measured elsewhere, too, with every channel divided by its own norm: tests/test_records.py compares the two.
realised="--set normalisation=user-realised --set horizon=1"
precoders=mrt,zf,rzf,wmmse
make_record precoding-four-users precoding --agents $precoders --scenario uma-nlos-16,uma-nlos-32,uma-nlos-64,uma-nlos-128 \
    --episodes 500 $realised
make_record precoding-eight-users precoding --agents $precoders --scenario uma-nlos-32,uma-nlos-64 \
    --episodes 500 --set num_users=8 $realised
make_record precoding-noisy-csi precoding --agents $precoders,robust_wmmse --scenario uma-nlos-32 --reference wmmse \
    --episodes 500 --set num_users=8 --set csi_snr_db=10 $realised
make_record precoding-hard precoding --agents $precoders,robust_wmmse --scenario uma-hard-32,uma-hard-16 --reference wmmse \
    --episodes 500 --set horizon=1
detectors=lmmse,lmmse_soft,oamp,kbest,ep,pair_ep,list_mmse,smc
make_record detection-four-users detection --agents $detectors --scenario uma-nlos-32,uma-nlos-64 --sweep snr_db=0:20:5 \
    --episodes 500 --set normalisation=sample-realised --set horizon=1
make_record detection-eight-users detection --agents $detectors --scenario uma-nlos-32 --sweep snr_db=0:20:5 \
    --episodes 500 --set num_users=8 --set horizon=1
# Where the exact posterior mean can be had, which is what every other detector is held against.
make_record detection-exact-qpsk detection --agents exact_mmse,$detectors --scenario uma-nlos-32 --sweep snr_db=0:10:5 \
    --reference exact_mmse --episodes 500 --set num_users=8 --set horizon=1 --set modulation=qpsk
make_record detection-exact-16qam detection --agents exact_mmse,$detectors --scenario uma-nlos-32 --sweep snr_db=0:10:5 \
    --reference exact_mmse --episodes 500 --set num_users=4 --set horizon=1
make_record detection-noisy-csi detection --agents $detectors,gmm_smc --scenario uma-nlos-32 --sweep csi_snr_db=0:20:5 \
    --reference smc --episodes 500 --set num_users=8 --set snr_db=15 --set horizon=1
make_record prediction-speed channel_prediction --agents hold,wiener,ar,pvec,pad,kalman,ar_beamdelay --scenario uma-nlos-128 \
    --sweep speed_kmh=10,30,50,70,100 --episodes 100 $realised

links='illa,olla,lookup_mcs,fixed_mcs,genie_mcs,mcs_policy:checkpoint="shipped"'
make_record link-speed link_adaptation --agents "$links" --sweep speed_kmh=10:100:30 --reference illa --episodes 500
make_record link-delay link_adaptation --agents "$links" --sweep delay_slots=0,2,4,8,16 --reference illa --episodes 500 --set speed_kmh=30

# Rivals with weights, each trained by its own configuration: at least as many episodes of its task as the universal agent had, in a
# quarter of an hour to an hour of one core; the paper's heads take two hours each. Runs that were cut off go on; finished ones stay.
train_once() {  # CONFIGURATION
    local folder=runs/baselines/$1 resume=
    [[ -f $folder/config.toml ]] && resume=--resume
    "$python" -m wirelessgym train "$1" --out "$folder" $resume --no-progress --set draw_ahead=false
}
trained() {  # NAME=CHECKPOINT... as agents with these labels
    local each
    for each in "$@"; do printf ',%s:checkpoint="runs/baselines/%s/last":label="%s"' "${each%=*}" "${each#*=}" "${each#*=}"; done
}
paper() {  # CONFIGURATION as an agent
    printf ',universal:checkpoint="runs/baselines/%s/last":label="paper"' "$1"
}
rivals_of() {  # RECORD RIVAL...: trains those whose record is to be made
    # shellcheck disable=SC2053
    [[ $1 == $pattern ]] || return 0
    local each
    for each in "${@:2}"; do train_once "$each"; done
}
rivals_of universal-precoding cnn_precoder denoiser_wmmse vae_wmmse
rivals_of universal-precoding-perfect cnn_precoder
rivals_of universal-detection oampnet detnet dnn_detector
rivals_of universal-prediction-10db rnn lstm gru transformer llm4cp
rivals_of paper-precoding-power paper_precoding
rivals_of paper-precoding-users paper_precoding
rivals_of paper-detection paper_detection
rivals_of paper-prediction-speed paper_prediction
rivals_of paper-prediction-snr paper_prediction

# The universal agent as it is shipped, and its heads before any training ("start"), beside all others.
learned='universal,universal:checkpoint=none:label="start"'
eight_users="--set num_users=8 --set horizon=1"
precoders=rzf,wmmse,robust_wmmse,$learned
networks=$(trained cnn_precoder=cnn_precoder denoiser_wmmse=denoiser_wmmse vae_wmmse=vae_wmmse)
make_record universal-precoding precoding --agents "zf,mrt,$precoders$networks" --scenario uma-nlos-32 \
    --sweep csi_snr_db=0:20:5 --reference robust_wmmse --episodes 500 $eight_users
make_record universal-precoding-perfect precoding --agents "zf,mrt,$precoders$(trained cnn_precoder=cnn_precoder)" \
    --scenario uma-nlos-32 --reference wmmse --episodes 500 $eight_users
make_record universal-precoding-power precoding --agents "$precoders" --scenario uma-nlos-32 --sweep snr_db=0:20:5 --reference robust_wmmse \
    --episodes 500 $eight_users --set csi_snr_db=10
make_record universal-precoding-users precoding --agents "$precoders" --scenario uma-nlos-32 --sweep num_users=4,6,8,10,12 \
    --reference robust_wmmse --episodes 500 --set csi_snr_db=10 --set horizon=1
networks=$(trained oampnet=oampnet detnet=detnet dnn_detector=dnn_detector)
make_record universal-detection detection --agents "mf,zf,$detectors,$learned$networks" --scenario uma-nlos-32 \
    --sweep snr_db=0:20:5 --reference oamp --episodes 500 $eight_users
predictors=hold,wiener,kalman,pvec,pad,ar_beamdelay,$learned
networks=$(trained rnn=rnn lstm=lstm gru=gru transformer=transformer llm4cp=llm4cp)
for snr_db in 5 15 20; do
    make_record universal-prediction-${snr_db}db channel_prediction --agents "$predictors" --scenario uma-nlos-32 \
        --sweep speed_kmh=10,30,60,100 --reference ar_beamdelay --episodes 128 --set snr_db=$snr_db --set horizon=1
done
make_record universal-prediction-10db channel_prediction --agents "$predictors$networks" --scenario uma-nlos-32 \
    --sweep speed_kmh=10,30,60,100 --reference ar_beamdelay --episodes 128 --set snr_db=10 --set horizon=1

# The paper's own heads on its own axes: power over noise of -10 dBW, users, SNR, speed.
make_record paper-precoding-power precoding --agents "zf,rzf,wmmse$(paper paper_precoding)" --scenario uma-nlos-128 \
    --sweep snr_db=0:20:5 --reference wmmse --episodes 500 --set horizon=1
make_record paper-precoding-users precoding --agents "zf,rzf,wmmse$(paper paper_precoding)" --scenario uma-nlos-128 \
    --sweep num_users=4,5,6,7,8 --reference wmmse --episodes 500 --set horizon=1
make_record paper-detection detection --agents "lmmse,oamp,ep$(paper paper_detection)" --scenario uma-nlos-128 \
    --sweep snr_db=0:25:5 --reference lmmse --episodes 500 $eight_users
make_record paper-prediction-speed channel_prediction --agents "hold,pad,ar_beamdelay$(paper paper_prediction)" --scenario uma-nlos-128 \
    --sweep speed_kmh=10,30,60,100 --reference ar_beamdelay --episodes 100 --set snr_db=10 --set horizon=1
make_record paper-prediction-snr channel_prediction --agents "hold,pad,ar_beamdelay$(paper paper_prediction)" --scenario uma-nlos-128 \
    --sweep snr_db=0:25:5 --reference ar_beamdelay --episodes 100 --set horizon=1

# Where it was never trained: other scenarios, arrays, speeds.
make_record transfer-precoding precoding --agents "$precoders" --scenario umi-nlos-32,cdl-c-32,uma-nlos-16,uma-nlos-64 \
    --reference robust_wmmse --episodes 256 $eight_users --set csi_snr_db=10
make_record transfer-detection detection --agents "$detectors,$learned" --scenario umi-nlos-32,cdl-c-32,uma-nlos-16,uma-nlos-64 \
    --reference oamp --episodes 256 $eight_users --set snr_db=10
make_record transfer-prediction channel_prediction --agents "$predictors" --scenario umi-nlos-32,cdl-c-32,uma-nlos-16,uma-nlos-64 \
    --reference ar_beamdelay --episodes 64 --set snr_db=10 --set horizon=1
make_record transfer-speed channel_prediction --agents "$predictors" --scenario uma-nlos-32 --sweep speed_kmh=100,120,150,200 \
    --reference ar_beamdelay --episodes 64 --set snr_db=10 --set horizon=1

[[ link-abstraction == $pattern ]] && "$python" records/link_abstraction.py
[[ cost == $pattern ]] && "$python" -m wirelessgym bench decision --out records/cost.json
if [[ learning-curves == $pattern ]]; then
    curves=() # of the rivals, and of the universal agent's own run where it is kept
    for folder in runs/universal runs/baselines/*; do
        [[ -f $folder/validation.csv ]] && curves+=("${folder##*/}=$folder")
    done
    "$python" records/learning_curves.py "${curves[@]}"
fi
"$python" records/update_readme.py
"$python" records/figures.py
