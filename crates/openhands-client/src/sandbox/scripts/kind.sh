# shellcheck shell=sh
# Prints what the path $1 is: folder, file, special (a FIFO, a socket, a device), nothing, or "no folder" if the folder above it is
# missing, too.
if [ -d "$1" ]; then
  echo folder
elif [ -f "$1" ]; then
  echo file
elif [ -e "$1" ]; then
  echo special
elif [ -d "$(dirname -- "$1")" ]; then
  echo nothing
else
  echo 'no folder'
fi
