"""English words of captions: adjectives for the forms of hosts, and the article."""

import re

_FORMS = """
alçak: low; alçak ayaklı: low-footed; alçak kavuklu: low-turbaned; alçak kaideli: low-based
alçak kasnaklı: low-drummed; alçak kemerli: low-arched; alçak nişli: low-niched
armudi gövdeli: pear-shaped; basık: flattened; basık kapaklı: flat-lidded
basık külahlı: blunt-spired; basık çatılı: low-roofed; bodur: squat; büyük başlı: large-headed
büyük boynuzlu: large-horned; büyük delikli: large-holed; büyük kulplu: large-handled
büyük küreli: large-orbed; büyük tekneli: large-basined; damla biçimli: drop-shaped; dar: narrow
dar ağızlı: narrow-mouthed; dar dipli: narrow-based
dar omuzlu: narrow-shouldered; dar tündüklü: narrow-crowned
dar şerefeli: narrow-balconied; derin: deep; derin dilimli: deeply fluted
derin nişli: deep-niched; dik duran: upright; dik kenarlı: steep-sided
dikey dikdörtgen biçimli: tall rectangular; dilimli kenarlı: scalloped; düz: flat
düz gövdeli: straight-bodied; düz kapaklı: flat-topped; düz taçlı: flat-crested
düz tepeli: flat-topped; düz yüzeyli: smooth; dışbükey gövdeli: convex
ejder tepeli: dragon-topped; geniş: wide; geniş ağızlı: wide-mouthed
geniş dipli: wide-based; geniş omuzlu: wide-shouldered; geniş pahlı: broadly bevelled
geniş tablalı: wide-trayed; geniş tündüklü: wide-crowned
geniş şerefeli: wide-balconied; hafif dalgalı: slightly wavy; hafif dilimli: slightly fluted
hafif eğik: slightly tilted; hafif pahlı: slightly bevelled; hafif çukur: medium-deep
ince: thin; ince boyunlu: slim-necked; ince gönderli: thin-poled; ince gövdeli: slender
ince tablalı: thin-slabbed; ince uzun: tall and slim; içbükey gövdeli: concave
kaidesiz: baseless; kalın: thick; kalın boyunlu: thick-necked; kalın gönderli: thick-poled
kalın gövdeli: stout; kalın tablalı: thick-slabbed; kare biçimli: square
kare planlı: square-plan; keskin köşeli: sharp-cornered; konik gövdeli: conical
konik kaideli: cone-based; kubbeli: domed; küresel gövdeli: globular
küçük başlı: small-headed; küçük boynuzlu: small-horned; küçük delikli: small-holed
küçük kulplu: small-handled; küçük küreli: small-orbed; küçük tablalı: small-trayed
küçük tekneli: small-basined; kısa ayaklı: short-footed; kısa bacaklı: short-legged
kısa boynuzlu: short-horned; kısa boyunlu: short-necked; kısa emzikli: short-spouted
kısa külahlı: short-spired; kısa püsküllü: short-tasselled; kısa saplı: short-handled
kısa saçaklı: short-fringed; kısa yanaklıklı: short-cheeked; mukarnas kavsaralı: muqarnas-hooded
mukarnas tepeli: muqarnas-topped; orta boy ayaklı: medium-footed
orta boy bacaklı: medium-legged; orta boy başlı: medium-headed
orta boy kavuklu: medium-turbaned; orta boy boynuzlu: medium-horned
orta uzunlukta boyunlu: medium-necked; orta boy delikli: medium-holed
orta boy emzikli: medium-spouted; orta boy gövdeli: medium-bodied; orta boy kaideli: medium-based
orta boy kapaklı: medium-lidded; orta boy kasnaklı: medium-drummed
orta boy kemerli: medium-arched; orta boy kulplu: medium-handled
orta boy külahlı: medium-spired; orta boy küreli: medium-orbed; orta boy nişli: medium-niched
orta boy püsküllü: medium-tasselled; orta boy saplı: medium-handled
orta boy saçaklı: medium-fringed; orta boy tekneli: medium-basined
orta boy tündüklü: medium-crowned; orta boy yanaklıklı: medium-cheeked
orta boylu: medium-height; orta derinlikte: medium-deep
orta derinlikte nişli: medium-niched; orta genişlikte: medium-wide
orta genişlikte ağızlı: medium-mouthed; orta genişlikte dipli: medium-based
orta genişlikte omuzlu: medium-shouldered; orta genişlikte şerefeli: medium-balconied
orta kalınlıkta: medium-thick; orta kalınlıkta boyunlu: medium-necked
orta kalınlıkta gönderli: medium-poled; orta kalınlıkta gövdeli: medium-bodied
orta kalınlıkta tablalı: medium-slabbed; orta yükseklikte: medium-height
orta yükseklikte tepeli: medium-topped; oval biçimli: oval; oval gövdeli: oval-bodied
saçaksız: eaveless; sekizgen kenarlı: octagonal; sekizgen planlı: octagonal-plan
silindirik gövdeli: cylindrical; silindirik kaideli: cylinder-based; sivri: pointed
sivri kemerli: pointed-arched; sivri külahlı: sharp-spired; sivri taçlı: pointed-crested
sivri tepeli: pointed; sivri çatılı: steep-roofed; sığ: shallow; sığ nişli: shallow-niched
tablasız: trayless; tıknaz gövdeli: stocky; uzun ayaklı: long-footed
uzun bacaklı: long-legged; uzun boynuzlu: long-horned; uzun boyunlu: long-necked
uzun emzikli: long-spouted; uzun gövdeli: long-bodied; uzun külahlı: tall-spired
uzun püsküllü: long-tasselled; uzun saplı: long-handled; uzun saçaklı: long-fringed
uzun yanaklıklı: long-cheeked; yarım küre biçimli: hemispherical
yatay dikdörtgen biçimli: wide rectangular; yayvan: shallow; yuvarlak biçimli: round
yuvarlak gövdeli: rounded; yuvarlak kemerli: round-arched; yuvarlak kenarlı: round-rimmed
yuvarlak köşeli: round-cornered; yuvarlak planlı: round-plan; yuvarlak taçlı: round-crested
az açılmış: narrowly opened; yarı açılmış: half opened; çok açılmış: widely opened
hafif çıkık saçaklı: narrow-eaved; çok çıkık saçaklı: wide-eaved
hafif eğimli kapaklı: low-pitched; dik eğimli kapaklı: steep-pitched
yuvarlak tepeli: round-topped; yüksek: tall; yüksek ayaklı: high-footed
yüksek kavuklu: high-turbaned; yüksek kaideli: high-based; yüksek kapaklı: high-lidded
yüksek kasnaklı: high-drummed; yüksek kemerli: high-arched; yüksek nişli: high-niched
çan biçimli kaideli: bell-based; çok dalgalı: very wavy; çok eğik: steeply tilted; çukur: deep
şişkin karınlı: round-bellied; şişkin tepeli: bulbous
"""
FORMS: dict[str, str] = dict(
    pair.split(": ") for pair in _FORMS.strip().replace("\n", "; ").split("; ")
)


def with_articles(text: str) -> str:
    """The text with "an" for "a" before a vowel."""
    return re.sub(r"\ba (?=[aeiouAEİO])", "an ", text)


def without_articles(text: str) -> str:
    """Inverse of `with_articles`."""
    return re.sub(r"\ban (?=[aeiouAEİO])", "a ", text)
