"""The mini corpus: real speech and real synthesizers from ordinary packages, in the layout of ASVspoof 2019 LA.

What stands where: conf.py reads conf/mini_corpus/*.yaml; debian.py and python_packages.py fetch; speech.py turns a
package's files into utterances; attack.py says what an attack is, and attacks/ has them (espeak.py
helps those that speak); chain.py is the channel that every file of both classes goes through, g722.py its telephone
codec; asv.py verifies speakers; planning.py plans the corpus; build.py makes it; writers.py writes its lists.
added_speech.py brings the user's own speech in; frozen.py says whether the audio is the version's.

replay/ is a room of its own: the acoustics of replayed speech, for a corpus in the layout of ASVspoof 2019 PA.
"""

VERSION = "2"  # results name it: raise it with every change that changes a built corpus
