package rollout

// launcher prepares the shell of an instance as Cloud Foundry's launcher does
// and then becomes the start command. It is written for any POSIX shell and is
// the same for every app: what a user wrote comes as an argument and is never
// part of the script. $0 is the shell, $1 the command. Files that are sourced
// may use and change everything but these two, which are set aside first.
//
// The last line starts the same shell anew for the command, so that nothing
// that is not exported gets from here to there. A command that is one program
// replaces it, by the shell's own doing in bash and in newer dashes; one that
// must get signals itself elsewhere says "exec" as in any Procfile.
const launcher = `weir_shell=$0 weir_command=$1
shift
for weir_file in ../profile.d/* .profile.d/* .profile; do
	if [ -f "$weir_file" ] && [ -r "$weir_file" ]; then
		case $weir_file in
		*/*) . "$weir_file" ;;
		*) . "./$weir_file" ;;
		esac
	fi
done
exec "$weir_shell" -c "$weir_command"
`

// launch returns the arguments that run a start command in the app directory.
func launch(shell, command string) []string {
	return []string{shell, "-c", launcher, shell, command}
}
