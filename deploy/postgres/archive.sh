#!/bin/sh
# archive_command: archive.sh FOLDER %p %f. A file is whole under its name or not there; another one of the same name is
# never overwritten (PostgreSQL tries again and says so in its log), the same one counts as done.
set -eu
folder=$1 path=$2 name=$3
if [ -e "$folder/$name" ]; then
    cmp -s "$path" "$folder/$name"
    exit
fi
umask 077
cp "$path" "$folder/.$name.part"
sync "$folder/.$name.part"
mv "$folder/.$name.part" "$folder/$name"
sync "$folder"
