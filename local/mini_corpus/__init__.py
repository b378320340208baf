"""The mini corpus: real speech and real synthesizers from ordinary packages, in the layout of ASVspoof 2019 LA.

What stands where: conf.py reads conf/mini_corpus/*.yaml; debian.py and python_packages.py fetch; speech.py turns a
package's files into utterances; copy_attacks.py and tts_attacks.py spoof them; chain.py is the channel that every
file of both classes goes through; asv.py verifies speakers; build.py plans the corpus and makes it.
"""

VERSION = "0"  # results name it: raise it with every change that changes a built corpus
