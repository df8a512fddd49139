#!/usr/bin/env bash
# Trains with three seeds, writes the results into this folder. Start it in the root of a checkout; if run again, it goes on where it stopped.
# You provide data/background/speech and data/background/noises: recordings of any length in which none of the words is said.
#   bash recipes/keywords/run.sh            downloads Speech Commands (2.5 GB) to data/speech_commands
#   bash recipes/keywords/run.sh FOLDER     takes the copy in FOLDER (a folder for each word)
set -euo pipefail
root="${1:-data/speech_commands}"
[ $# -gt 0 ] || speechgru prepare speech_commands root="$root"
speechgru prepare synth root=data/synth_commands voices=380 takes=1 \
    'words=[yes,no,up,down,left,right,go,stop,zero,one,two,three,four,five,six,seven,eight,nine]'
speechgru prepare synth root=data/synth_others voices=60 takes=1 \
    'words=[about,after,again,agree,answer,ape,app,apple,apt,arm,ask,at,auto,awful,baby,better,boat,bottle,bow,bread,bright,brother,brown,button,camera,cause,chair,cheese,chess,children,city,coffee,color,computer,country,cup,cut,dawn,dinner,doctor,door,dream,eleven,fall,far,fault,fear,find,fine,fire,fix,food,foot,force,forest,fork,form,free,fun,gate,ghost,goal,goat,gold,gone,great,ground,guess,hat,heaven,hello,hero,hive,hop,hot,knee,known,lap,late,laugh,leg,lend,less,lift,light,line,list,lot,love,low,mine,music,nice,night,noise,nope,nose,not,note,now,nurse,odd,open,opera,oven,people,pot,rate,ride,rip,ripe,run,shop,show,sick,sister,sit,slow,snow,soap,sofa,song,star,stay,step,stock,store,street,sun,table,talk,through,town,tray,trick,trip,try,turn,us,vine,wait,wall,want,warm,water,when,white,window,wine,wonder,yard,yell,yellow,yesterday,yet,zebra,zoo]'

models=
for seed in 0 1 2; do
    speechgru train recipe=keywords data.root="$root" seed=$seed run_dir=runs/keywords/$seed resume=true
    models+=,runs/keywords/$seed/model
done
speechgru evaluate split=test model="[${models#,}]" root="$root" recipe_dir="$(dirname "$0")"
