// Package vcs is a GOPROXY server of modules that it fetches from version
// control, with the go command and git of the image that it runs in.
//
// It runs beside an instance of a ModProxy, in a container of its own that alone
// has the credentials, and serves on a loopback address. The instance asks it for
// private modules in place of an upstream, checks and stores what comes, and is
// the only client. So nothing here is kept for long: the directory is a cache of
// repositories, which is emptied when it becomes large.
//
// Git servers are not trusted:
//
//   - Only git is used, over https and ssh, without prompts, hooks or settings of
//     the surroundings. Plain http, local files and other commands are refused.
//   - Credentials are given for hosts that their Secret lists, one request at a
//     time (see credentials.go), and the keys of ssh servers are compared with the
//     known ones by a client of our own (ssh.go): the image needs no ssh, and no
//     entry of its user in /etc/passwd.
//   - Each command is bounded in time and output, and all together in disk space.
//   - Nothing of a module is compiled or run: the go command only lists and
//     packs.
//
// A module that a server does not have is 404, one that may not be read 403, and
// all else is 502 or 504, so that trouble is never taken for an absence.
//
// Start at Server; run.go shows the environment of the commands.
package vcs
