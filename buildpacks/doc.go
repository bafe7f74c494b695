// Package buildpacks knows how to turn an app's source into a droplet: it
// holds the buildpacks weir comes with and carries out the two contracts a
// buildpack may follow.
//
//	Cloud Foundry   detect BUILD
//	                supply BUILD CACHE DEPS INDEX
//	                finalize BUILD CACHE DEPS INDEX PROFILE
//	                release BUILD
//	Heroku classic  detect BUILD
//	                compile BUILD CACHE ENV
//	                release BUILD          (and a file "export" for the next buildpack)
//
// A buildpack of either kind is a directory with bin/; which contract it
// follows is told by the scripts it has. The contracts are carried out inside
// one directory, the stage, so that a runner can confine a whole build to it:
//
//	STAGE/plan.json           what to do, written by the stager
//	STAGE/droplet/app         the source, which becomes the app
//	STAGE/droplet/deps        what buildpacks supply, one directory each
//	STAGE/droplet/profile.d   scripts sourced before the start command
//	STAGE/buildpacks/<n>      private, writable copies of the buildpacks
//	STAGE/cache               kept between the builds of one app
//	STAGE/env                 the app's variables, one file each
//	STAGE/home, STAGE/tmp     HOME and TMPDIR of the scripts
//	STAGE/result.json         what came of it, see Result
package buildpacks
